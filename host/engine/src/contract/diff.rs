//! Where two types differ, in words.

use super::{Function, Shape};

impl Function {
    /// The first place where the provider's function differs from what the caller wants, or none.
    #[must_use]
    pub fn difference(&self, provided: &Self) -> Option<String> {
        if self.params.len() != provided.params.len() {
            return Some(format!(
                "the caller passes {} parameters, the provider takes {}",
                self.params.len(),
                provided.params.len()
            ));
        }
        for ((name, wanted), (other, given)) in self.params.iter().zip(&provided.params) {
            if name != other {
                return Some(format!(
                    "parameter `{name}` of the caller is `{other}` at the provider"
                ));
            }
            if let Some(difference) = wanted.difference(given, &format!("parameter `{name}`")) {
                return Some(difference);
            }
        }
        match (&self.result, &provided.result) {
            (None, None) => None,
            (Some(wanted), Some(given)) => wanted.difference(given, "the result"),
            (Some(wanted), None) => {
                Some(format!("the caller wants a result ({wanted}), the provider gives none"))
            }
            (None, Some(given)) => {
                Some(format!("the caller wants no result, the provider gives {given}"))
            }
        }
    }
}

impl Shape {
    /// The first place below `at` where `given` differs from `self`, or none.
    fn difference(&self, given: &Self, at: &str) -> Option<String> {
        if self == given {
            return None;
        }
        let plain = || Some(format!("{at}: the caller has {self}, the provider {given}"));
        match (self, given) {
            (Self::List(a), Self::List(b)) => a.difference(b, &format!("{at}, element")),
            (Self::Option(a), Self::Option(b)) => a.difference(b, &format!("{at}, value")),
            (Self::Result(a_ok, a_err), Self::Result(b_ok, b_err)) => {
                part(a_ok.as_deref(), b_ok.as_deref(), &format!("{at}, ok"))
                    .or_else(|| part(a_err.as_deref(), b_err.as_deref(), &format!("{at}, error")))
                    .or_else(plain)
            }
            (Self::Record(a), Self::Record(b)) => {
                for ((name, wanted), (other, given)) in a.iter().zip(b) {
                    if name != other {
                        return Some(format!(
                            "{at}: field `{name}` of the caller is `{other}` at the provider"
                        ));
                    }
                    if let Some(found) = wanted.difference(given, &format!("{at}, field `{name}`"))
                    {
                        return Some(found);
                    }
                }
                Some(format!("{at}: the caller has {} fields, the provider {}", a.len(), b.len()))
            }
            (Self::Variant(a), Self::Variant(b)) => {
                for ((name, wanted), (other, given)) in a.iter().zip(b) {
                    if name != other {
                        return Some(format!(
                            "{at}: case `{name}` of the caller is `{other}` at the provider"
                        ));
                    }
                    if let Some(found) =
                        part(wanted.as_ref(), given.as_ref(), &format!("{at}, case `{name}`"))
                    {
                        return Some(found);
                    }
                }
                Some(format!("{at}: the caller has {} cases, the provider {}", a.len(), b.len()))
            }
            _ => plain(),
        }
    }
}

fn part(wanted: Option<&Shape>, given: Option<&Shape>, at: &str) -> Option<String> {
    match (wanted, given) {
        (None, None) => None,
        (Some(wanted), Some(given)) => wanted.difference(given, at),
        (Some(wanted), None) => {
            Some(format!("{at}: the caller has {wanted}, the provider nothing"))
        }
        (None, Some(given)) => Some(format!("{at}: the caller has nothing, the provider {given}")),
    }
}
