//! An organization's credential for starting deployments of stacks. For admins.

use stackbell_model::deployments::{DeploymentsCredential, STACKS_MAX, StackReference};
use stackbell_model::http_url;
use stackbell_model::permission::Permission;
use stackbell_model::secret::Sealed;
use stackbell_wire::rest::operation::DeploymentsRequest;
use url::Url;

use crate::auth::{Access, OrganizationCaller};
use crate::fields::Fields;
use crate::{App, Error};

/// The most bytes of an API's URL or a token. Servers refuse longer ones.
const TEXT_BYTES_MAX: usize = 2048;

/// The target in the audit log.
const TARGET: &str = "the deployments credential";

impl App {
    /// An organization's credential.
    ///
    /// # Errors
    /// [`crate::Code::NotFound`] if there is none; errors of access and store.
    pub async fn get_deployments(&self, caller: &OrganizationCaller) -> Result<DeploymentsCredential, Error> {
        let access = caller.require(Permission::EditDeployments)?;
        let found = self.store.deployments_credential(access.organization.id).await?;
        found.ok_or_else(|| not_found(&access))
    }

    /// Sets an organization's credential. It replaces the previous one.
    ///
    /// # Errors
    /// [`crate::Code::Invalid`] naming every wrong field; errors of access and store.
    pub async fn set_deployments(
        &self,
        caller: &OrganizationCaller,
        body: &DeploymentsRequest,
    ) -> Result<DeploymentsCredential, Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(Permission::EditDeployments)?;
        let before = self.store.deployments_credential(access.organization.id).await?;
        let mut fields = Fields::default();
        let api_url = self.read_api_url(&mut fields, &access, body.api_url.as_deref());
        let stacks = read_stacks(&mut fields, body.stacks.as_deref());
        let kept = before.as_ref().filter(|before| api_url.as_ref() == Some(&before.api_url));
        let token = self.read_deployments_token(&mut fields, &access, body, kept);
        let ((api_url, stacks), token) = fields.finish(api_url.zip(stacks).zip(token))?;
        let organization = access.organization.id;
        let mut audit = self.audit(caller, Some(organization), "deployments.set", TARGET, Vec::new());
        let credential = DeploymentsCredential { organization, api_url, token, stacks, set_at: audit.at };
        audit.fields = changed_fields(before.as_ref(), &credential, body.token.is_some());
        if !self.store.set_deployments_credential(&credential, audit).await? {
            return Err(Error::not_found("Organization", &access.organization.name));
        }
        Ok(credential)
    }

    /// Removes an organization's credential. Deliveries that need it fail from now on.
    ///
    /// # Errors
    /// [`crate::Code::NotFound`] if there is none; errors of access and store.
    pub async fn remove_deployments(&self, caller: &OrganizationCaller) -> Result<(), Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(Permission::EditDeployments)?;
        let organization = access.organization.id;
        let audit = self.audit(caller, Some(organization), "deployments.remove", TARGET, Vec::new());
        if !self.store.remove_deployments_credential(organization, audit).await? {
            return Err(not_found(&access));
        }
        Ok(())
    }

    fn read_api_url(&self, fields: &mut Fields, access: &Access<'_>, text: Option<&str>) -> Option<Url> {
        let url = fields.read_required("apiUrl", text, parse_api_url)?;
        match self.outbound.judge_literal(&url, &access.organization.name) {
            Ok(()) => Some(url),
            Err(refusal) => {
                let (kind, remedy) = (refusal.kind(), refusal.remedy());
                let message =
                    format!("must not name {kind}: the outbound policy forbids it; allow it with {remedy}");
                fields.invalid("apiUrl", message);
                None
            }
        }
    }

    /// The sealed token. The stored one is kept only for the same API, so it is never sent to another server.
    fn read_deployments_token(
        &self,
        fields: &mut Fields,
        access: &Access<'_>,
        body: &DeploymentsRequest,
        kept: Option<&DeploymentsCredential>,
    ) -> Option<Sealed> {
        match (&body.token, kept) {
            (Some(token), _) => {
                let token = fields.read("token", check_token(token))?;
                let organization = access.organization.id;
                Some(self.chance(|entropy| self.keyring.seal_deployments_token(organization, token, entropy)))
            }
            (None, Some(kept)) => Some(kept.token.clone()),
            (None, None) => {
                fields.required("token");
                None
            }
        }
    }
}

fn not_found(access: &Access<'_>) -> Error {
    Error::not_found("Deployments credential of", &access.organization.name)
}

fn parse_api_url(text: &str) -> Result<Url, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("must be at most {TEXT_BYTES_MAX} bytes long, is {}", text.len()));
    }
    let url = http_url::parse(text).map_err(|error| error.to_string())?;
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !is_plain {
        return Err("must be http:// or https://, a host, and no user, query or fragment".to_owned());
    }
    Ok(url)
}

fn check_token(token: &str) -> Result<&str, String> {
    let is_good = (1..=TEXT_BYTES_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    let rule = || format!("must be 1 to {TEXT_BYTES_MAX} visible ASCII characters");
    if is_good { Ok(token) } else { Err(rule()) }
}

fn read_stacks(fields: &mut Fields, texts: Option<&[String]>) -> Option<Vec<StackReference>> {
    let Some(texts) = texts else {
        fields.required("stacks");
        return None;
    };
    if texts.len() > STACKS_MAX {
        fields.invalid("stacks", format!("must have at most {STACKS_MAX} entries, has {}", texts.len()));
        return None;
    }
    let mut stacks = fields.read_explained("stacks", texts, StackReference::parse, |unknown| {
        format!("must be of the form project/stack, is not in {}", unknown.name(|_| String::new()))
    });
    stacks.sort();
    stacks.dedup();
    Some(stacks)
}

/// The fields that a request changed, by their names on the wire. A token is sealed differently each time, so it cannot be
/// compared.
fn changed_fields(
    before: Option<&DeploymentsCredential>,
    after: &DeploymentsCredential,
    is_token_new: bool,
) -> Vec<&'static str> {
    let DeploymentsCredential { organization: _, api_url, token: _, stacks, set_at: _ } = after;
    let fields = [
        ("apiUrl", before.is_some_and(|before| before.api_url == *api_url)),
        ("token", !is_token_new),
        ("stacks", before.is_some_and(|before| before.stacks == *stacks)),
    ];
    fields.into_iter().filter(|(_, is_same)| !is_same).map(|(field, _)| field).collect()
}
