//! Starts `validator-query`, sends it the query, and waits a limited time for the answer.

use std::time::Duration;

use ipc::{
    jail::Missing,
    validator_query::{MAX_ANSWER, Malformed, ValidatorAnswer, ValidatorQuery},
};

use crate::launch::{Answered, OneShot, OneShotError};

/// The time for the whole question.
pub const TIME_LIMIT: Duration = Duration::from_secs(5);

const PROGRAM: OneShot = OneShot { program: "validator-query", time_limit: TIME_LIMIT, max_answer: MAX_ANSWER };

/// The result of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryResult {
    /// What the validators say.
    pub answer: ValidatorAnswer,
    /// The missing layers of the jail in which they were asked.
    pub missing: Vec<Missing>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ValidatorQueryError {
    /// The query is too long.
    #[error("the list of validators is too long: give fewer")]
    TooMany,
    /// The program gave none.
    #[error(transparent)]
    Program(#[from] OneShotError),
}

/// Asks. Takes at most [`TIME_LIMIT`]. The child process has ended when this returns.
pub fn ask(query: &ValidatorQuery) -> Result<QueryResult, ValidatorQueryError> {
    let query = query.encode().map_err(|Malformed| ValidatorQueryError::TooMany)?;
    let Answered { answer, missing } = PROGRAM.ask(&query, &[])?;
    let answer = ValidatorAnswer::decode(&answer).map_err(|Malformed| OneShotError::Malformed(PROGRAM.program))?;
    Ok(QueryResult { answer, missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_refused_before_anything_is_started() {
        let query = ValidatorQuery {
            account: None,
            validators: vec!["http://validator.example".into(); 500],
            contract: "c".into(),
            mix_host: "m".into(),
            clients_host: "w".into(),
            identity: "i".into(),
        };
        assert!(matches!(ask(&query), Err(ValidatorQueryError::TooMany)));
    }
}
