//! Real programs before real archives, through the bridge.
