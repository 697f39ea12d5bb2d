//! The decisions that every store shares. A store looks up facts, calls the decision, and writes its result.

pub mod attempt;
pub mod intake;
