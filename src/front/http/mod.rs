//! DICOMweb over HTTP; the only place that names `axum`.
