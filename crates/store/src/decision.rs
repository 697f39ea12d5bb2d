//! The decisions that every store shares. A store looks up facts, calls the decision, and writes what it says.

pub mod attempt;
pub mod intake;
