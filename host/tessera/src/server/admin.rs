//! What a running server answers on its admin socket.

use std::{pin::Pin, sync::Arc};

use anyhow::Result;
use serde_json::Value;

use super::tenant::Running;
use crate::{
    admin::{Answering, Question},
    topics,
};

/// Answers for the tenant.
pub(crate) struct Admin {
    pub(crate) running: Arc<Running>,
}

impl Answering for Admin {
    fn answer(
        &self,
        question: Question,
    ) -> Pin<Box<dyn Future<Output = Result<Value>> + Send + '_>> {
        let database = &self.running.database;
        Box::pin(async move {
            Ok(match question {
                Question::Status => serde_json::to_value(self.running.tenant.status())?,
                Question::Topics => serde_json::to_value(topics::report(database).await?)?,
                Question::Letters { action, chosen } => {
                    serde_json::to_value(topics::act(database, action, &chosen).await?)?
                }
            })
        })
    }
}
