//! A line of the table: a figure, what it must keep to, and whether it does.

/// What a figure must keep to; NaN where that could not be measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    /// NaN keeps to nothing, and nothing to it.
    pub fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
        }
    }

    fn unknown(self) -> bool {
        let (Self::AtLeast(value) | Self::AtMost(value)) = self;
        value.is_nan()
    }
}

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Times,
    Gigabytes,
    Difference,
    Gigaflops,
    Count,
}

/// A comparison.
#[derive(Clone, Debug)]
pub struct Line {
    pub what: String,
    pub ours: String,
    pub beside: String,
    /// Or why there is none.
    pub figure: Result<f64, String>,
    pub unit: Unit,
    pub limit: Option<Bound>,
    pub aim: Option<Bound>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    Fails,
    /// It could not be measured.
    Missing,
    /// There is nothing to keep to.
    Reported,
}

impl Line {
    pub fn verdict(&self) -> Verdict {
        match (&self.figure, self.limit) {
            (Err(_), _) => Verdict::Missing,
            (Ok(_), None) => Verdict::Reported,
            (Ok(_), Some(limit)) if limit.unknown() => Verdict::Missing,
            (Ok(figure), Some(limit)) if limit.holds(*figure) => Verdict::Holds,
            (Ok(_), Some(_)) => Verdict::Fails,
        }
    }

    /// Whether a promise is kept. One that could not be measured is not.
    pub fn holds(&self) -> bool {
        match self.verdict() {
            Verdict::Holds | Verdict::Reported => true,
            Verdict::Missing => self.limit.is_none(),
            Verdict::Fails => false,
        }
    }
}
