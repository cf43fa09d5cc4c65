//! N-EVENT-REPORTs of archives, on their way to the clients that wait for them.
