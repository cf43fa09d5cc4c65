//! AE title or URL → archive.
