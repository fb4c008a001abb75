//! Handles `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::telemetry::{Health, Metrics, metrics::CONTENT_TYPE};

/// Answers 200 while the process can continue, 503 once it must be restarted.
pub(super) async fn healthz(State(health): State<Health>) -> Response {
    match health.why_dead() {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// Answers 200 while events can be accepted, else 503.
pub(super) async fn readyz(State(health): State<Health>) -> Response {
    let readiness = health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// Returns all metrics for Prometheus.
pub(super) async fn metrics(State((metrics, health)): State<(Arc<Metrics>, Health)>) -> Response {
    metrics.ready(health.readiness().ready);
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
