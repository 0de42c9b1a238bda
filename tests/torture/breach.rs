//! What must never be seen.

/// A promise that was not kept, and how.
#[derive(Debug)]
pub(crate) struct Breach {
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

/// Which promise. The control must find repeats; whatever else its missing intents lead to is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An update was sent again, and nothing allowed it.
    Repeat,
    /// An update is nowhere, or is called applied and the desk never saw it.
    Lost,
    Other,
}

impl Breach {
    pub(crate) const fn repeat(what: String) -> Self {
        Self { kind: Kind::Repeat, what }
    }

    pub(crate) const fn lost(what: String) -> Self {
        Self { kind: Kind::Lost, what }
    }

    pub(crate) const fn other(what: String) -> Self {
        Self { kind: Kind::Other, what }
    }
}
