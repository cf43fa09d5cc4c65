//! Configuration → the running application: bind early, spawn late, drain on SIGTERM.
