//! The integration tests: one binary, a folder for each service.

mod layers;
