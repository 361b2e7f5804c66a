//! How a process declares its figures: in one place, each with its kind, its unit and its help.

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what is now.
    Gauge,
    /// How often something took how long.
    Histogram,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    None,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

/// One figure of a page.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The name in the code and in the log.
    pub field: &'static str,
    /// The name of a family of figures that differ in their label; else that of the field.
    pub family: &'static str,
    /// Name and value of the label. The values are a closed list.
    pub label: Option<(&'static str, &'static str)>,
    /// What it is.
    pub kind: Kind,
    /// What it counts.
    pub unit: Unit,
    /// A sentence for operators.
    pub help: &'static str,
}

/// The figures of one process.
pub trait Figures: Send + Sync + Sized + 'static {
    /// All of them, in the order of the page.
    const TABLE: &'static [Figure];
    /// Counters of what was refused or lost. They are part of the hourly line of the log.
    const REFUSALS: &'static [&'static str];
    /// The refusals that an operator may have to act on. Their begin and end are lines of their own.
    const CONDITIONS: &'static [&'static str];

    /// Names and values of the counters now, in the order of declaration.
    fn snapshot(&self) -> Vec<(&'static str, u64)>;
}

/// Declares a struct of figures that implements [`Figures`]. The first of them is `loop_turns`, the heartbeat. A line has the kind
/// (`counter`, `gauge` or `histogram`), the field, the unit if it has one, and family and label if it has these. Two lists after the
/// struct name the counters of refusals and those of conditions.
#[macro_export]
macro_rules! figures {
    (
        $(#[$meta:meta])* $vis:vis struct $name:ident {
            $(
                $(#[doc = $help:literal])+
                $kind:ident $field:ident $(($unit:ident))? $(= $family:literal { $label:ident: $value:literal })?
            ),* $(,)?
        }
        refusals { $($refusal:ident),* $(,)? }
        conditions { $($condition:ident),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name {
            /// Times that the loop which carries the traffic of the process was seen to turn, a few seconds apart.
            pub loop_turns: $crate::Number,
            $($(#[doc = $help])+ pub $field: $crate::figure_type!($kind)),*
        }

        impl $crate::Figures for $name {
            const TABLE: &'static [$crate::Figure] = &[
                $crate::Figure {
                    field: "loop_turns",
                    family: "loop_turns",
                    label: None,
                    kind: $crate::Kind::Counter,
                    unit: $crate::Unit::None,
                    help: "Times that the loop which carries the traffic of the process was seen to turn, a few seconds apart.",
                },
                $($crate::Figure {
                    field: stringify!($field),
                    family: $crate::figure_family!($field $($family)?),
                    label: $crate::figure_label!($($label $value)?),
                    kind: $crate::figure_kind!($kind),
                    unit: $crate::figure_unit!($($unit)?),
                    help: concat!($($help),+),
                }),*
            ];
            const REFUSALS: &'static [&'static str] = &[$(stringify!($refusal),)* $(stringify!($condition)),*];
            const CONDITIONS: &'static [&'static str] = &[$(stringify!($condition)),*];

            fn snapshot(&self) -> Vec<(&'static str, u64)> {
                // Compiles only if every name in a list is a figure.
                let _ = ($(&self.$refusal,)* $(&self.$condition,)*);
                let counters: [Option<(&'static str, u64)>; <Self as $crate::Figures>::TABLE.len() - 1] = [$($crate::figure_count!($kind self $field)),*];
                counters.into_iter().flatten().collect()
            }
        }

        impl $name {
            /// The figures in a page, whose counters go on from where an earlier process stopped.
            ///
            /// # Errors
            /// If the page is too short.
            pub fn in_page(
                page: &'static [::std::sync::atomic::AtomicU64],
            ) -> ::std::result::Result<Self, $crate::number::PageTooShort> {
                let mut places = $crate::number::Places::of(page);
                Ok(Self { loop_turns: places.counter()?, $($field: places.$kind()?),* })
            }
        }
    };
}

/// The type of a field.
#[doc(hidden)]
#[macro_export]
macro_rules! figure_type {
    (histogram) => {
        $crate::Histogram
    };
    ($_:ident) => {
        $crate::Number
    };
}

/// The kind by its keyword.
#[doc(hidden)]
#[macro_export]
macro_rules! figure_kind {
    (counter) => {
        $crate::Kind::Counter
    };
    (gauge) => {
        $crate::Kind::Gauge
    };
    (histogram) => {
        $crate::Kind::Histogram
    };
}

/// The unit by its keyword.
#[doc(hidden)]
#[macro_export]
macro_rules! figure_unit {
    () => {
        $crate::Unit::None
    };
    (bytes) => {
        $crate::Unit::Bytes
    };
    (seconds) => {
        $crate::Unit::Seconds
    };
}

/// The family, if there is one.
#[doc(hidden)]
#[macro_export]
macro_rules! figure_family {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $family:literal) => {
        $family
    };
}

/// The label, if there is one.
#[doc(hidden)]
#[macro_export]
macro_rules! figure_label {
    () => {
        None
    };
    ($label:ident $value:literal) => {
        Some((stringify!($label), $value))
    };
}

/// A counter as the log has it; nothing of other figures.
#[doc(hidden)]
#[macro_export]
macro_rules! figure_count {
    (counter $self:ident $field:ident) => {
        Some((stringify!($field), $self.$field.load(::std::sync::atomic::Ordering::Relaxed)))
    };
    ($_:ident $self:ident $field:ident) => {
        None
    };
}
