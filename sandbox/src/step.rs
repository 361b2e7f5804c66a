//! What may come of a step, and which layers hold so far.

use std::fmt;

use ipc::jail::{ActiveLayers, Layer, Missing};

/// A step failed; the worker must not go on.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// The kernel refused a step that it never refuses.
    #[error("cannot close the jail: step `{step}` failed: {source}")]
    Step {
        /// The name of the step.
        step: &'static str,
        /// What the kernel said.
        source: nix::Error,
    },
    /// The supervisor died before its death could be watched.
    #[error("the supervisor is gone")]
    Orphaned,
    /// There is a way back to what was given up.
    #[error("the jail has a hole: {0}")]
    Hole(&'static str),
    /// A layer that the operator requires is unavailable.
    #[error(
        "the jail's layer {layer} cannot be had: {why}; or take `{layer}` out of `require` in the section [sandbox] of \
         config.toml, to run without it"
    )]
    Required {
        /// The layer.
        layer: Layer,
        /// Why, and what to do.
        why: Why,
    },
}

/// Why a layer is unavailable, and what the operator can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why(String);

impl Why {
    pub(crate) fn new(error: impl fmt::Display, remedy: &str) -> Self {
        Self(format!("{error}; {remedy}"))
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What came of a step that gives the jail a layer.
#[must_use]
#[derive(Debug)]
pub(crate) enum Step {
    /// The layer holds.
    Done,
    /// This machine does not offer the layer. The operator decides whether the worker goes on without it.
    Unavailable(Why),
    /// The step failed half-way, or has never been seen to fail. The process must end.
    Fatal(JailError),
}

impl From<Result<(), Why>> for Step {
    fn from(result: Result<(), Why>) -> Self {
        result.map_or_else(Self::Unavailable, |()| Self::Done)
    }
}

impl From<Result<(), JailError>> for Step {
    fn from(result: Result<(), JailError>) -> Self {
        result.map_or_else(Self::Fatal, |()| Self::Done)
    }
}

/// For what the kernel never refuses.
pub(crate) fn must<T>(step: &'static str, result: nix::Result<T>) -> Result<T, JailError> {
    result.map_err(|source| JailError::Step { step, source })
}

/// Collects which layers hold, and refuses to go on without a required one.
pub(crate) struct LayerBuilder<'a> {
    required: &'a [Layer],
    layers: ActiveLayers,
}

impl<'a> LayerBuilder<'a> {
    pub(crate) fn new(required: &'a [Layer]) -> Self {
        Self { required, layers: ActiveLayers::default() }
    }

    pub(crate) fn add(&mut self, layer: Layer, step: impl Into<Step>) -> Result<(), JailError> {
        match step.into() {
            Step::Done => self.layers.active.push(layer),
            Step::Unavailable(why) if self.required.contains(&layer) => {
                return Err(JailError::Required { layer, why });
            }
            Step::Unavailable(Why(why)) => self.layers.missing.push(Missing { layer, why }),
            Step::Fatal(error) => return Err(error),
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> ActiveLayers {
        self.layers
    }
}
