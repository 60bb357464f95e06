//! Simple Local Chat Protocol, in every variant seen on the wire (docs/protocols.md).
