//! Asks authenticators again, for requests that hold on to what was granted: parked ones, and those answered in pieces.

use std::sync::Arc;

use tessera_engine::api::{CallError, Denial};

use crate::auth::{Granted, Verdict};
use crate::edge::Edge;
use crate::edge::admission::Served;
use crate::edge::flow::Asker;

/// Why what was granted once is not granted again.
pub(crate) enum Refused {
    Denied(Denial),
    /// The credentials are somebody else's by now.
    Changed,
    /// Neither a grant nor a denial.
    Nobody,
    Failed(CallError),
}

impl Edge {
    /// Asks the authenticator whether what it granted still holds. Gives what it grants now.
    pub(crate) async fn granted_again(
        &self,
        served: &Served,
        asker: &Asker,
    ) -> Result<Arc<Granted>, Refused> {
        let asking = self.asking(&served.site, &asker.who);
        let granted = match asking.ask(asker.credentials.clone(), &served.tenant.auth, None).await {
            Ok(Verdict::Granted(granted)) => granted,
            Ok(Verdict::Denied(denial)) => return Err(Refused::Denied(denial)),
            Ok(Verdict::Anonymous) => return Err(Refused::Nobody),
            Err(error) => return Err(Refused::Failed(error)),
        };
        let (old, new) = (&asker.granted.grant.principal, &granted.grant.principal);
        if old.user != new.user || old.device != new.device || old.service != new.service {
            return Err(Refused::Changed);
        }
        Ok(granted)
    }
}
