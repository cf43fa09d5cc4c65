//! What lies inside an object besides its attributes: frames of pixel data and other bulk values, cut out of
//! the encoded data set while it passes. No I/O, and no decoding of images.

pub mod bulk;
pub mod frames;
