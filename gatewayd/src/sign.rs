//! `gatewayd sign`: has the identity key sign a text of the operator, once the operator knows what it says.
//!
//! The text may come from anybody, and the key is in a file that only `signer` reads. So `signer` runs twice: without the key it says what a
//! signature would mean, and with the key it signs what the operator has agreed to.
//!
//! *Trusts*: the operator at the terminal. *Holds*: the text; never the key. *Promises*: nothing is signed that was not shown whole,
//! and nothing without a yes.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
    time::Duration,
};

use ipc::{
    Role, codec,
    jail::{JailSpec, LayerSettings},
    signer::{MAX_ANSWER, MAX_TEXT, SignAnswer, SignRequest, SignText, Step},
};

use crate::{
    console::Console,
    launch::{
        AccountError, Accounts, Answered, OneShot, OneShotError, ResourceError, log_missing_layers, open_identity_key,
    },
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths, Root},
    plan::{self, Environment, PlanError, RunPlan},
};

const PROGRAM: OneShot = OneShot { program: "signer", time_limit: Duration::from_secs(10), max_answer: MAX_ANSWER };

// A request has room for its text beside the jail.
const _: () = assert!(MAX_TEXT + 4 * 1024 <= link::descriptor::MAX_DATAGRAM);

/// Descriptors that `signer` may have open.
const OPEN_FILES: u64 = 16;

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people, as nym-node writes it.
    Text,
    /// For programs.
    Json,
}

/// What to sign, and how to ask and answer.
#[derive(Debug)]
pub struct SignOptions {
    /// The text.
    pub text: SignText,
    /// The form of the output.
    pub output: Output,
    /// Whether the operator has agreed already.
    pub yes: bool,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The gateway's configuration or keys cannot be used.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No account for `signer`.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The key cannot be opened.
    #[error(transparent)]
    Key(#[from] ResourceError),
    /// `signer` gave no answer.
    #[error(transparent)]
    Program(#[from] OneShotError),
    /// More text than somebody reads.
    #[error(
        "the text has {0} bytes, and at most {MAX_TEXT} are signed, as all of it is shown first: sign a hash of it instead"
    )]
    LongText(usize),
    /// Too long for any contract message.
    #[error(
        "the text has {0} bytes, and no bonding message has more than {MAX_TEXT}: copy the whole text from the wallet, and nothing else"
    )]
    LongMessage(usize),
    /// The text is not signed.
    #[error("{0}")]
    Refused(String),
    /// Nobody can be asked.
    #[error(
        "nothing was signed, as standard input is no terminal and nobody can be asked: read the text above, and give --yes if it says what you want"
    )]
    NobodyToAsk,
    /// The operator said no.
    #[error("nothing was signed")]
    Declined,
    /// The terminal cannot be read.
    #[error("nothing was signed: cannot read the answer: {0}")]
    Terminal(io::Error),
}

/// Shows what a signature of the text means, asks, signs, and prints the signature.
///
/// # Errors
/// With what is wrong and what to do. Then nothing was signed.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    options: SignOptions,
    environment: Environment,
    console: &mut Console<'_>,
) -> Result<(), SignError> {
    let SignOptions { text, output, yes } = options;
    let text = checked(text)?;
    let guard = PathGuard::new(GatewayPaths::new(root, id).home());
    let plan = plan::read(id, root, guard, None, environment)?;
    let signer = Signer::new(&plan, text)?;
    let words = signer.explain()?;
    // Programs read standard output, so the operator reads this elsewhere.
    let mut terminal = io::stderr().lock();
    // A closed standard error is read by nobody, and then nobody agrees.
    let _ = writeln!(terminal, "{words}");
    drop(terminal);
    if !yes {
        ask()?;
    }
    let (message, signature) = signer.sign()?;
    let signature = bs58::encode(signature).into_string();
    match output {
        Output::Text => {
            console.line(format_args!("the base58-encoded signature on: '{message}' is:"));
            console.line(signature);
        }
        Output::Json => {
            console.line(serde_json::json!({ "encoded_message": signer.encoded(), "encoded_signature": signature }));
        }
    }
    Ok(())
}

/// The text without the spaces around a contract message, if it can be shown whole.
fn checked(text: SignText) -> Result<SignText, SignError> {
    match text {
        SignText::Plain(text) if text.len() > MAX_TEXT => Err(SignError::LongText(text.len())),
        SignText::Plain(_) => Ok(text),
        SignText::ContractMessage(text) => match text.trim() {
            text if text.len() > MAX_TEXT => Err(SignError::LongMessage(text.len())),
            text => Ok(SignText::ContractMessage(text.to_owned())),
        },
    }
}

/// Waits for a yes.
fn ask() -> Result<(), SignError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(SignError::NobodyToAsk);
    }
    // As above.
    let _ = write!(io::stderr(), "Sign this? Type yes: ").and_then(|()| io::stderr().flush());
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(SignError::Terminal)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(SignError::Declined) }
}

/// The program, and what it is asked about.
struct Signer<'a> {
    plan: &'a RunPlan,
    jail: JailSpec,
    text: SignText,
}

impl<'a> Signer<'a> {
    fn new(plan: &'a RunPlan, text: SignText) -> Result<Self, AccountError> {
        let accounts = Accounts::choose(plan.config.sandbox.first_account.get())?;
        let layers = LayerSettings {
            // The account of the process that has this key while the gateway runs.
            account: *accounts.of_workers().get(Role::Store),
            required: plan.config.sandbox.require.clone(),
            connect_ports: Vec::new(),
        };
        let jail = JailSpec {
            supervisor: std::process::id(),
            open_files: OPEN_FILES,
            layers: (!plan.insecure).then_some(layers),
        };
        Ok(Self { plan, jail, text })
    }

    fn explain(&self) -> Result<String, SignError> {
        match self.ask(Step::Explain)? {
            SignAnswer::Explained { words } => Ok(words),
            other => Err(unexpected(other)),
        }
    }

    /// The bytes that are signed, which are text, and the signature.
    fn sign(&self) -> Result<(String, [u8; 64]), SignError> {
        match self.ask(Step::Sign)? {
            SignAnswer::Signed { message, identity, signature } if identity == self.plan.public_keys.identity => {
                Ok((message, signature))
            }
            other => Err(unexpected(other)),
        }
    }

    fn ask(&self, step: Step) -> Result<SignAnswer, SignError> {
        let request = SignRequest {
            jail: self.jail.clone(),
            identity: self.plan.public_keys.identity,
            text: self.text.clone(),
            step,
        };
        let request = codec::encode_one(&request).map_err(|_| OneShotError::Malformed(PROGRAM.program))?;
        let key = match step {
            Step::Explain => None,
            Step::Sign => Some(open_identity_key(&self.plan.config, &self.plan.guard)?),
        };
        let lent: Vec<_> = key.iter().map(|key| key.as_fd()).collect();
        let Answered { answer, missing } = PROGRAM.ask(&request, &lent)?;
        if step == Step::Sign {
            log_missing_layers(PROGRAM.program, &missing);
        }
        codec::decode_one(&answer).map_err(|_| OneShotError::Malformed(PROGRAM.program).into())
    }

    /// The text, which for a contract message is the base58 that the wallet shows.
    fn encoded(&self) -> &str {
        match &self.text {
            SignText::Plain(text) | SignText::ContractMessage(text) => text,
        }
    }
}

fn unexpected(answer: SignAnswer) -> SignError {
    match answer {
        SignAnswer::Refused { why } => SignError::Refused(why),
        SignAnswer::Explained { .. } | SignAnswer::Signed { .. } => OneShotError::Malformed(PROGRAM.program).into(),
    }
}
