//! Holding and resuming all sending.

use stackbell_model::names::DisplayName;
use stackbell_store::instance::SendingHold;

use crate::auth::Caller;
use crate::fields::Fields;
use crate::{App, Code, Error};

/// What the audit log says it was done to.
const TARGET: &str = "all sending";

impl App {
    /// Why nothing is sent; `None` when sending goes on. Operators only.
    ///
    /// # Errors
    /// [`Code::Forbidden`]; those of the store.
    pub async fn sending_hold(&self, caller: &Caller) -> Result<Option<SendingHold>, Error> {
        caller.require_operator()?;
        Ok(self.store.sending_hold().await?)
    }

    /// Holds all sending. Operators only.
    ///
    /// # Errors
    /// [`Code::Invalid`] without a reason of 1 to 256 characters; [`Code::Conflict`] when it is held already;
    /// [`Code::Forbidden`]; those of the store.
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
    /// [`Code::Conflict`] when it is not held; [`Code::Forbidden`]; those of the store.
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
