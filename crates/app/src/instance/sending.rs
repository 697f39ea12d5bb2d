//! Hold on all sending.

use stackbell_model::names::DisplayName;
use stackbell_store::instance::SendingHold;

use crate::auth::Caller;
use crate::fields::Fields;
use crate::{App, Code, Error};

/// The target in the audit log.
const TARGET: &str = "all sending";

impl App {
    /// The hold on sending; `None` if there is none. Operators only.
    ///
    /// # Errors
    /// [`Code::Forbidden`]; errors of the store.
    pub async fn sending_hold(&self, caller: &Caller) -> Result<Option<SendingHold>, Error> {
        caller.require_operator()?;
        Ok(self.store.sending_hold().await?)
    }

    /// Holds all sending. Operators only.
    ///
    /// # Errors
    /// [`Code::Invalid`] without a reason of 1 to 256 characters; [`Code::Conflict`] if sending is held already;
    /// [`Code::Forbidden`]; errors of the store.
    pub async fn hold_sending(&self, caller: &Caller, reason: Option<&str>) -> Result<SendingHold, Error> {
        let caller = &self.renew(caller).await?;
        caller.require_operator()?;
        let mut fields = Fields::default();
        let reason = fields.read_required("reason", reason, DisplayName::parse);
        let reason = fields.finish(reason)?;
        let target = format!("{TARGET}, because: {reason}");
        let audit = self.audit(caller, None, "sending.hold", target, Vec::new());
        let hold = SendingHold { since: audit.at, reason: reason.as_str().into() };
        if !self.store.hold_sending(&hold, audit).await? {
            return Err(Error::new(Code::Conflict, "sending is held already"));
        }
        self.engine.sending_changed().await;
        Ok(hold)
    }

    /// Resumes sending. Operators only.
    ///
    /// # Errors
    /// [`Code::Conflict`] if sending is not held; [`Code::Forbidden`]; errors of the store.
    pub async fn resume_sending(&self, caller: &Caller) -> Result<(), Error> {
        let caller = &self.renew(caller).await?;
        caller.require_operator()?;
        let audit = self.audit(caller, None, "sending.resume", TARGET, Vec::new());
        if !self.store.resume_sending(audit).await? {
            return Err(Error::new(Code::Conflict, "sending is not held"));
        }
        self.engine.sending_changed().await;
        Ok(())
    }
}
