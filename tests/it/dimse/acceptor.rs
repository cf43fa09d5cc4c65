//! Who may come, how many, and in which contexts.
