//! threepids
