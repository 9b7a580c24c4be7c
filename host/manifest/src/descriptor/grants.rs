//! What plug-ins are allowed.

use std::{fmt, marker::PhantomData, str::FromStr};

use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{CallName, InterfaceName, Name, OriginPattern, TopicName, ViewName};

/// What a plug-in is allowed of what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grants {
    /// All that its manifest asks, in every version of it.
    Asked,
    /// This much of what its manifest asks.
    Only(Box<GrantsTable>),
}

impl Default for Grants {
    /// Nothing.
    fn default() -> Self {
        Self::Only(Box::default())
    }
}

/// `[plugins.NAME.grants]`: what is allowed of what the manifest asks. What is not there is not allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct GrantsTable {
    /// Services and hooks that it may call, whole or by function.
    pub call: Allowed<CallName>,
    /// Hooks that it may answer, whole or by function.
    pub answer: Allowed<CallName>,
    /// Topics that it may consume.
    pub hear: Allowed<TopicName>,
    /// Routes that it may serve, by id.
    pub serve: Allowed<Name>,
    /// Authenticators that it may be.
    pub authenticate: Allowed<Name>,
    /// Services that it may provide.
    pub provide: Allowed<InterfaceName>,
    /// Views of others that it may read.
    pub reads: Allowed<ViewName>,
    /// Origins that it may fetch from.
    pub fetch: Allowed<OriginPattern>,
    /// Whether it may sign with the tenant's key, and learn the public part.
    pub sign: bool,
    /// Whether it may hash and check passwords.
    pub passwords: bool,
    /// Whether it may send mail through the relay.
    pub mail: bool,
}

/// A list, or all that is asked: `"*"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed<T> {
    /// All that is asked.
    All,
    /// These.
    Only(Vec<T>),
}

impl<T> Default for Allowed<T> {
    /// None.
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl<T> Allowed<T> {
    /// Whether it allows nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Only(list) if list.is_empty())
    }
}

impl<T: Clone + Covers> Allowed<T> {
    /// What of `asked` is allowed: of two where one covers the other, the narrower one.
    #[must_use]
    pub fn of(&self, asked: &[T]) -> Vec<T> {
        let Self::Only(list) = self else { return asked.to_vec() };
        let mut allowed: Vec<T> = Vec::new();
        for (asked, granted) in asked.iter().flat_map(|asked| list.iter().map(move |g| (asked, g)))
        {
            let narrower = match (granted.covers(asked), asked.covers(granted)) {
                (true, _) => asked,
                (_, true) => granted,
                _ => continue,
            };
            if !allowed.iter().any(|allowed| allowed.covers(narrower)) {
                allowed.push(narrower.clone());
            }
        }
        allowed
    }
}

/// Something that may be asked for and allowed.
pub trait Covers {
    /// Whether whoever has `self` has all of `other`.
    fn covers(&self, other: &Self) -> bool;
}

impl Covers for CallName {
    fn covers(&self, other: &Self) -> bool {
        Self::covers(self, other)
    }
}

impl Covers for OriginPattern {
    fn covers(&self, other: &Self) -> bool {
        Self::covers(self, other)
    }
}

macro_rules! covers_itself {
    ($($type:ty),*) => {$(
        impl Covers for $type {
            fn covers(&self, other: &Self) -> bool {
                self == other
            }
        }
    )*};
}

covers_itself!(InterfaceName, Name, TopicName, ViewName);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Allowed<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = Allowed<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list, or \"*\" for all that is asked")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Allowed<T>, E> {
                if text == "*" {
                    return Ok(Allowed::All);
                }
                Err(E::custom(format!(
                    "`{text}` stands alone; expected a list, or \"*\" for all that is asked"
                )))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Allowed<T>, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(Allowed::Only)
            }
        }

        from.deserialize_any(Visitor(PhantomData))
    }
}

impl<T: Serialize> Serialize for Allowed<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => to.serialize_str("*"),
            Self::Only(list) => list.serialize(to),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Allowed<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Allowed_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        let list = generator.subschema_for::<Vec<T>>();
        schemars::json_schema!({ "anyOf": [{ "const": "*" }, list] })
    }
}

impl Grants {
    /// Whether nothing is allowed.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Only(table) if **table == GrantsTable::default())
    }
}

impl GrantsTable {
    /// Adds what a word of the command line says: `call=tessera:services/rooms.send-as`, `serve=*`, `sign`. Several
    /// values are divided by commas.
    ///
    /// # Errors
    /// What is wrong with the word, for people.
    pub fn add(&mut self, word: &str) -> Result<(), String> {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        };
        let flag = match value {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(format!("`{other}` is neither true nor false")),
        };
        let list = value.ok_or_else(|| format!("`{word}` names nothing; write {key}=… or {key}=*"));
        match key {
            "call" => extend(&mut self.call, list?),
            "answer" => extend(&mut self.answer, list?),
            "hear" => extend(&mut self.hear, list?),
            "serve" => extend(&mut self.serve, list?),
            "authenticate" => extend(&mut self.authenticate, list?),
            "provide" => extend(&mut self.provide, list?),
            "reads" => extend(&mut self.reads, list?),
            "fetch" => extend(&mut self.fetch, list?),
            "sign" => flag.map(|flag| self.sign = flag),
            "passwords" => flag.map(|flag| self.passwords = flag),
            "mail" => flag.map(|flag| self.mail = flag),
            _ => Err(format!(
                "`{key}` is no grant; there are: call, answer, hear, serve, authenticate, provide, reads, fetch, sign, passwords, mail"
            )),
        }
    }
}

fn extend<T: FromStr<Err = String> + PartialEq>(
    to: &mut Allowed<T>,
    values: &str,
) -> Result<(), String> {
    for value in values.split(',').map(str::trim).filter(|value| !value.is_empty()) {
        if value == "*" {
            *to = Allowed::All;
        }
        let Allowed::Only(list) = to else { return Ok(()) };
        let value = value.parse()?;
        if !list.contains(&value) {
            list.push(value);
        }
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Grants;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("\"asked\", \"nothing\" or a table of grants")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Grants, E> {
                match text {
                    "asked" => Ok(Grants::Asked),
                    "nothing" => Ok(Grants::default()),
                    _ => Err(E::custom(format!(
                        "`{text}` is no grant; expected \"asked\", \"nothing\" or a table such as {{ call = [] }}"
                    ))),
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Grants, A::Error> {
                GrantsTable::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(|table| Grants::Only(Box::new(table)))
            }
        }

        from.deserialize_any(Visitor)
    }
}

impl Serialize for Grants {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Asked => to.serialize_str("asked"),
            // A word, because an empty table laid over another would change nothing.
            Self::Only(_) if self.is_nothing() => to.serialize_str("nothing"),
            Self::Only(table) => table.serialize(to),
        }
    }
}

impl JsonSchema for Grants {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Grants".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        let table = generator.subschema_for::<GrantsTable>();
        schemars::json_schema!({ "anyOf": [{ "const": "asked" }, { "const": "nothing" }, table] })
    }
}

#[cfg(test)]
mod tests {
    use super::{Allowed, Grants, GrantsTable};
    use crate::CallName;

    fn calls(names: &[&str]) -> Vec<CallName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn of_an_interface_and_its_function_the_function_is_allowed() {
        let asked = calls(&["a:s/rooms", "a:s/keys.sign", "a:s/push"]);
        let granted = Allowed::Only(calls(&["a:s/rooms.send", "a:s/keys", "a:s/sync"]));
        assert_eq!(granted.of(&asked), calls(&["a:s/rooms.send", "a:s/keys.sign"]));
        assert_eq!(Allowed::All.of(&asked), asked);
        assert!(Allowed::default().of(&asked).is_empty());
        let origins = |text: &[&str]| text.iter().map(|o| o.parse().unwrap()).collect::<Vec<_>>();
        let granted: Allowed<crate::OriginPattern> = Allowed::Only(origins(&["https://a.example"]));
        assert_eq!(
            granted.of(&origins(&["https://*", "http://*"])),
            origins(&["https://a.example"])
        );
    }

    #[test]
    fn words_of_the_command_line_make_a_table() {
        let mut table = GrantsTable::default();
        table.add("call=a:s/rooms.send,a:s/keys").unwrap();
        table.add("call=a:s/keys").unwrap();
        table.add("serve=*").unwrap();
        table.add("sign").unwrap();
        assert_eq!(table.call, Allowed::Only(calls(&["a:s/rooms.send", "a:s/keys"])));
        assert_eq!(table.serve, Allowed::All);
        assert!(table.sign && !table.passwords);
        for (word, said) in [
            ("calls=a:s/b", "no grant"),
            ("call", "call=*"),
            ("call=rooms", "is no interface"),
            ("sign=maybe", "neither true nor false"),
        ] {
            let wrong = table.add(word).unwrap_err();
            assert!(wrong.contains(said), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_written_as_a_word_so_that_it_replaces_a_table() {
        let nothing = serde_json::to_value(Grants::default()).unwrap();
        assert_eq!(nothing, "nothing");
        assert_eq!(serde_json::from_value::<Grants>(nothing).unwrap(), Grants::default());
        let all = Grants::Only(Box::new(GrantsTable { serve: Allowed::All, ..Default::default() }));
        let json = serde_json::to_value(&all).unwrap();
        assert_eq!(json["call"], serde_json::json!([]));
        assert_eq!(serde_json::from_value::<Grants>(json).unwrap(), all);
    }
}
