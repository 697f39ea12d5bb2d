//! The audit log.

use serde::Serialize;
use utoipa::ToSchema;

/// A recorded change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditResponse {
    /// The entry's id.
    pub id: String,
    /// When it was made: RFC 3339, UTC, milliseconds.
    #[schema(format = DateTime)]
    pub at: String,
    /// The actor: a login, a service token's name, or `stackbell`.
    pub actor: String,
    /// The id of the token of the request; null if there was none.
    #[schema(required = true)]
    pub token_id: Option<String>,
    /// The remote address of the request; null if it is unknown.
    #[schema(required = true)]
    pub remote: Option<String>,
    /// The action, as `noun.verb`.
    pub action: String,
    /// The target, in words.
    pub target: String,
    /// The names of the changed fields, without their values.
    pub fields: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_are_there_always() {
        let entry = AuditResponse {
            id: "1".to_owned(),
            at: "2026-05-13T06:19:04.070Z".to_owned(),
            actor: "morty".to_owned(),
            token_id: None,
            remote: None,
            action: "member.set".to_owned(),
            target: "member rick as viewer".to_owned(),
            fields: vec!["role".to_owned()],
        };
        let expected = r#"{"id":"1","at":"2026-05-13T06:19:04.070Z","actor":"morty","tokenId":null,"remote":null,"action":"member.set","target":"member rick as viewer","fields":["role"]}"#;
        assert_eq!(serde_json::to_string(&entry).expect("plain data"), expected);
    }
}
