//! What lies inside an object besides its attributes: frames of pixel data and other bulk values, cut out of
//! the encoded data set while it passes, the pixels of a frame, how they are compressed, and pictures of them. No I/O.

pub mod bulk;
pub mod codec;
pub mod frames;
pub mod pixels;
pub mod render;
pub mod transcode;
