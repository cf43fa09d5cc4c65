//! PS3.7 and PS3.8, one peer at a time: PDUs, associations, command sets, the pool.

pub mod association;
pub mod command;
pub mod negotiation;
pub mod pdu;
pub mod pool;
pub mod scp;
pub mod scu;
pub mod status;
pub mod wire;
