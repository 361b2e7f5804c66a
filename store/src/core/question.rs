//! How a question of the operator is known.

/// A question of the operator that is being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuestionId(pub u64);
