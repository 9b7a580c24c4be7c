//! The horizon with several writers.
