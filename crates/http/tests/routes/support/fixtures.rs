//! A world with an object for every route.

use serde_json::{Value, json};
use stackbell_model::Timestamp;
use stackbell_model::health::{Suspension, SuspensionReason};

use super::calls::{Names, UNKNOWN_ID};
use super::{ORGANIZATION, World, stack_update, webhook};

/// The path of a webhook of each kind of scope.
const HOOKS: [&str; 4] = [
    "/api/orgs/crazy-adventures/hooks",
    "/api/stacks/crazy-adventures/website/prod/hooks",
    "/api/esc/environments/crazy-adventures/website/dev/hooks",
    "/api/preview/environments/crazy-adventures/dev/hooks",
];

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

impl World {
    /// Makes an object for each parameter of a path, with webhooks that send to `url`. Sending is held, so that deliveries stay
    /// pending.
    pub(crate) async fn furnish(&self, url: &str) -> Names {
        self.admin("POST", "/v1/instance/sending/hold", json!({"reason": "a test"})).await.expect(200);
        for hooks in HOOKS {
            self.admin("POST", hooks, webhook("kept", url)).await.expect(201);
        }
        let suspended = self.save_webhook("suspended", url, |webhook| {
            webhook.health.suspension = Some(Suspension {
                since: Timestamp::from_millis(0),
                reason: SuspensionReason::Gone,
                probe_at: Timestamp::from_millis(i64::MAX),
            });
        });
        let suspended = suspended.await.to_string();
        let somebody = self.user("somebody", Some("viewer")).await;
        let of = |of: &str| format!("/v1/orgs/{ORGANIZATION}/{of}");
        let ci = self.admin("POST", &of("tokens"), json!({"name": "ci", "role": "viewer"})).await.expect(201);
        let own = json!({"name": "own", "role": "viewer"});
        let own = self.admin("POST", "/v1/user/tokens", own).await.expect(201);
        let theirs = self.ask(&somebody, "GET", "/v1/user/tokens", Value::Null).await.expect(200);
        let credential = json!({"apiUrl": "https://api.example/", "token": "pul-1", "stacks": []});
        self.admin("PUT", &of("deployments"), credential).await.expect(200);
        let update = json!({"kind": "stack_update", "payload": stack_update("prod")});
        let stack_event = text(&self.publish(update).await["id"]);
        let environment = |project: &str| {
            let payload = json!({"projectName": project, "environmentName": "dev", "action": "created"});
            json!({"kind": "environment", "payload": payload})
        };
        let environment_event = text(&self.publish(environment("website")).await["id"]);
        let preview_event = text(&self.publish(environment("default")).await["id"]);
        let webhooks = self.admin("GET", &of("webhooks?scope=organization&text=kept"), Value::Null).await;
        let webhook = text(&webhooks.expect(200)[0]["id"]);
        let deliveries = of(&format!("deliveries?state=pending&webhook={webhook}"));
        let deliveries = self.admin("GET", &deliveries, Value::Null).await.expect(200);
        Names {
            organization: ORGANIZATION.to_owned(),
            hook: "kept".to_owned(),
            webhook,
            suspended,
            stack_event,
            environment_event,
            preview_event,
            delivery: text(&deliveries[0]["id"]),
            recovery: UNKNOWN_ID.to_owned(),
            login: "somebody".to_owned(),
            own_token: text(&own["id"]),
            user_token: text(&theirs[0]["id"]),
            service_token: text(&ci["id"]),
        }
    }

    async fn publish(&self, event: Value) -> Value {
        self.admin("POST", &format!("/v1/orgs/{ORGANIZATION}/events"), event).await.expect(202)
    }
}
