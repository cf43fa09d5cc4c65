//! A small data set in memory, in Unicode: identifiers of queries and their answers.

/// A data set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataSet {}
