//! Nodes over real TCP on the loopback interface.
