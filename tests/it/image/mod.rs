//! Pictures: what is shown of real files, against what others show.

mod dcm2pnm;
mod gallery;
mod memory;
mod thumbnails;
