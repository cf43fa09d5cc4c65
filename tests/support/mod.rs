//! What the integration tests stand on: real archives, a real proxy, the bridge itself, each on free loopback
//! ports, in a folder of its own, and gone when the test ends.

pub(crate) mod app;
pub(crate) mod bridge;
pub(crate) mod chaos;
pub(crate) mod curl;
pub(crate) mod http;
pub(crate) mod objects;
pub(crate) mod part10;
pub(crate) mod peers;
pub(crate) mod process;
