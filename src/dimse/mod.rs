//! PS3.7 and PS3.8, one peer at a time; the only place that names `dicom_ul`.
