//! What the integration tests stand on: real archives, a real proxy, the bridge itself, each on free loopback
//! ports, in a folder of its own, and gone when the test ends.

pub(crate) mod bridge;
pub(crate) mod curl;
pub(crate) mod peers;
pub(crate) mod process;
