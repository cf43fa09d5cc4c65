//! Gantry: a DICOM ↔ DICOMweb bridge.
//!
//! A request comes in through a front end ([`front`]), is routed to an archive ([`archive`]) and runs there
//! over DIMSE ([`dimse`]). Imports go one way only:
//!
//! `main → cli → app → front → { router, doctor } → archive → {dimse, dicomweb, image} → dicom`
//!
//! [`net`], [`caller`], [`current`], [`event`] and [`metrics`] lie at the bottom and anybody may use them. [`demo`], the built-in test archive,
//! uses [`dimse`] and [`dicom`] only. `tests/it/layers.rs` holds the code against this rule.

pub mod access;
pub mod app;
pub mod archive;
pub mod audit;
pub mod caller;
pub mod cli;
pub mod config;
pub mod current;
pub mod demo;
pub mod dicom;
pub mod dicomweb;
pub mod dimse;
pub mod doctor;
pub mod event;
pub mod front;
pub mod image;
pub mod metrics;
pub mod net;
pub mod router;
pub mod telemetry;
pub mod trace;
