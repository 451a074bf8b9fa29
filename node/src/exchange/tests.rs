//! Nodes with stores, over real TCP on the loopback interface.
