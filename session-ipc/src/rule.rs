//! The rules of the link.

/// What a peer can do that is against the rules of this link. The text is what the log says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// `client-edge` makes a request that [`Phase::admits`](crate::Phase::admits) as a violation.
    #[error("asked for what its session's phase does not allow")]
    Phase,
    /// `client-edge` opens more sessions than `max_sessions` of the settings.
    #[error("opened more sessions than there may be connections")]
    TooManySessions,
    /// `client-edge` confirms a message that was not pushed in the session.
    #[error("confirmed a message that was not pushed in the session")]
    UnpushedReceipt,
    /// `client-edge` lets answers pile up.
    #[error("does not read its answers")]
    AnswersUnread,
    /// `store` answers the first handshake message with something else than a reply or a refusal.
    #[error("the first handshake message got an answer that is none")]
    InitAnswer,
    /// `store` answers the second handshake message with something else than a key or a refusal.
    #[error("the second handshake message got an answer that is none")]
    MaterialAnswer,
    /// `store` answers an authentication with something else than a key or a refusal.
    #[error("an authentication got an answer that is none")]
    AuthenticationAnswer,
    /// `store` answers without a request.
    #[error("an answer came to no request")]
    UnaskedAnswer,
    /// `store` confirms that a client is forgotten that did not ask for it.
    #[error("a client was forgotten that did not ask for it")]
    UnaskedForget,
    /// `store` attaches a session with a key of another kind than its client's.
    #[error("a session was attached with another kind of key than its client's")]
    WrongKeyKind,
    /// `store` attaches a session that is attached.
    #[error("a session was attached twice")]
    AttachedTwice,
    /// `store` attaches more sessions than there are slots for keys.
    #[error("more sessions were attached than there can be connections")]
    TooManyAttached,
    /// `store` says more to a session than it can take at once.
    #[error("more commands came than a session can have waiting")]
    TooManyCommands,
    /// `store` pushes to a session that is not attached.
    #[error("mail came for a session that is not attached")]
    MailUnattached,
    /// `store` pushes a message behind a later one.
    #[error("mail came out of order")]
    MailOutOfOrder,
    /// `store` pushes beyond the credit of a session.
    #[error("mail came beyond the credit of its session")]
    MailOverCredit,
    /// `store` pushes beyond the memory for all sessions.
    #[error("mail came beyond the memory for all sessions")]
    MailOverMemory,
}
