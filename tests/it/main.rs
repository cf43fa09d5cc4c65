//! The integration tests: one binary, a folder for each service.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is to panic, in its helpers too")]

#[allow(dead_code, reason = "support for every service's tests, of which some are still to come")]
#[path = "../support/mod.rs"]
mod support;

mod access;
mod attacks;
mod audit;
mod clients;
mod commands;
mod console;
mod corpus;
mod demo;
mod deploy;
mod dimse;
mod doctor;
mod ending;
mod engine;
mod frames;
mod fuzz;
mod hostile;
mod image;
mod interop;
mod layers;
mod metadata;
mod openapi;
mod operate;
mod operator;
mod pacs;
mod reload;
mod retrieval;
mod search;
mod shared;
mod shared_search;
mod statement;
mod store;
mod stow;
mod tls;
mod transcode;
mod viewers;
