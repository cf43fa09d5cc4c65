//! What lies inside an object besides its attributes: frames of pixel data and other bulk values, cut out of
//! the encoded data set while it passes, and the pixels of a frame. No I/O.

pub mod bulk;
pub mod frames;
pub mod pixels;
pub mod render;
