//! Filling in the user and the organization.

use super::schema::Schema;
use super::{Filling, Party};
use crate::json::{CanonicalObject, Shape, Value, write_string};
use stackbell_model::field::FieldError;

/// Refuses a payload of another organization. The comparison is case-sensitive.
pub(super) fn check_organization(object: &CanonicalObject, filling: &Filling<'_>) -> Result<(), FieldError> {
    let expected = filling.organization.login;
    let named = object.get("organization").and_then(|organization| organization.get("githubLogin"));
    match named.and_then(Value::text) {
        Some(login) if login != expected => {
            let problem = format_args!("must be '{expected}', the organization that the event is sent to");
            Err(FieldError::invalid("githubLogin", problem).inside("organization"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The payload with the missing parts filled in; `None` if nothing was missing.
pub(super) fn fill(object: &CanonicalObject, schema: &Schema, filling: &Filling<'_>) -> Option<String> {
    let organization = object.get("organization");
    let is_whole = object.get("user").is_some() || filling.user.is_none();
    let is_named = organization.is_some_and(|value| value.get("githubLogin").is_some());
    let has_nulls = object.members().any(|(name, value)| value.is_null() && schema.knows(name));
    if is_whole && is_named && !has_nulls {
        return None;
    }
    let mut writer = Writer::new(object.text().len() + room_for(filling));
    let has_user = object.get("user").is_some();
    if let Some(user) = filling.user.filter(|_| !has_user) {
        writer.party("user", user);
    }
    if organization.is_none() && !has_user {
        writer.party("organization", filling.organization);
    }
    for (name, value) in object.members() {
        match name {
            _ if value.is_null() && schema.knows(name) => {}
            "organization" if !is_named => writer.named(value, filling.organization.login),
            _ => writer.member(name, value),
        }
        if name == "user" && has_user && organization.is_none() {
            writer.party("organization", filling.organization);
        }
    }
    Some(writer.end())
}

/// Capacity for the filled-in text. A longer text costs one more allocation.
fn room_for(filling: &Filling<'_>) -> usize {
    let party = |party: &Party<'_>| 64 + party.name.len() + party.login.len() + party.avatar_url.len();
    party(&filling.organization) + filling.user.as_ref().map_or(0, party)
}

/// Writes one object, member by member.
struct Writer {
    out: String,
}

impl Writer {
    fn new(capacity: usize) -> Self {
        let mut out = String::with_capacity(capacity);
        out.push('{');
        Self { out }
    }

    fn end(mut self) -> String {
        self.out.push('}');
        self.out
    }

    /// Writes a member. `name` is as written between its quotes.
    fn key(&mut self, name: &str) {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    fn member(&mut self, name: &str, value: Value<'_>) {
        self.key(name);
        self.out.push_str(value.raw());
    }

    fn text(&mut self, name: &str, text: &str) {
        self.key(name);
        write_string(text, &mut self.out);
    }

    fn party(&mut self, name: &str, party: Party<'_>) {
        self.key(name);
        self.out.push('{');
        self.text("name", party.name);
        self.text("githubLogin", party.login);
        self.text("avatarUrl", party.avatar_url);
        self.out.push('}');
    }

    /// The sender's `organization`, which has no login, with the login added.
    fn named(&mut self, organization: Value<'_>, login: &str) {
        debug_assert_eq!(organization.shape(), Shape::Object, "checked against the schema");
        self.key("organization");
        self.out.push('{');
        let members = organization.members().into_iter().flatten();
        for (name, value) in members.filter(|(name, _)| *name != "githubLogin") {
            self.member(name, value);
        }
        self.text("githubLogin", login);
        self.out.push('}');
    }
}
