// Receives webhooks, and rejects every request without a valid signature.
//
//     WEBHOOK_SECRET='a secret' node build/receiver.js PORT [standard|pulumi]
//
// It needs only Node 20 or later after compilation. Each event becomes a line of JSON on standard output.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

// Stackbell sends at most 256 KiB, unless its `payload_bytes_max` is set higher.
const BODY_BYTES_MAX = 1024 * 1024;
// The tolerance of the Standard Webhooks libraries: enough for clocks that differ, too little for replays.
const TOLERANCE_SECONDS = 5 * 60;
// More ids than can arrive within the tolerance, so a replay has either a known id or an old time.
const IDS_MAX = 10_000;
// The timeout for a request. Stackbell itself gives up after 15 seconds.
const REQUEST_MILLISECONDS = 15_000;

/** A request that is not taken, and what its sender is told. */
class Refused extends Error {
    constructor(readonly status: number, message: string) {
        super(message);
    }
}

/** A mistake in how the receiver was started. */
class UsageError extends Error {}

/** A header's text; undefined when it is not there, or there more than once. */
function header(headers: IncomingHttpHeaders, name: string): string | undefined {
    const value = headers[name];
    return typeof value === "string" && value !== "" ? value : undefined;
}

/** Takes as long for a near miss as for a far one, so nobody can guess byte by byte. */
function isSame(right: string, found: string): boolean {
    const [a, b] = [Buffer.from(right), Buffer.from(found)];
    return a.length === b.length && timingSafeEqual(a, b);
}

/** The key of Standard Webhooks: what a `whsec_` secret means, or the bytes of any other secret. */
function standardKey(secret: string): Buffer {
    if (!secret.startsWith("whsec_")) return Buffer.from(secret);
    const text = secret.slice("whsec_".length);
    const key = Buffer.from(text, "base64");
    // Node skips characters that are not base64, and would then use another key than the sender.
    if (key.length === 0 || key.toString("base64") !== text) {
        throw new UsageError("WEBHOOK_SECRET begins with whsec_, and what follows is not base64");
    }
    return key;
}

/** Checks who sent it and when, and gives the id, which is signed too. */
function verifyStandard(key: Buffer, headers: IncomingHttpHeaders, body: Buffer): string {
    const id = header(headers, "webhook-id");
    const sentAt = header(headers, "webhook-timestamp");
    const signatures = header(headers, "webhook-signature");
    if (!id || !sentAt || !signatures) {
        throw new Refused(401, "not signed: webhook-id, webhook-timestamp and webhook-signature are needed");
    }
    const right = `v1,${createHmac("sha256", key).update(`${id}.${sentAt}.`).update(body).digest("base64")}`;
    // After a rotation there are two signatures: one by the new secret and, for a day, one by the old.
    if (!signatures.split(" ").some((signature) => isSame(right, signature))) {
        throw new Refused(401, "wrong signature");
    }
    // The condition is written so that an invalid time is rejected too.
    if (!(Math.abs(Date.now() / 1000 - Number(sentAt)) <= TOLERANCE_SECONDS)) {
        throw new Refused(401, "signed too long ago, or for the future: a replay, or a clock that is wrong");
    }
    return id;
}

/** Checks who sent it. Neither time nor id is signed, so this cannot tell a replay. */
function verifyPulumi(key: Buffer, headers: IncomingHttpHeaders, body: Buffer): string {
    const id = header(headers, "pulumi-webhook-id");
    const signature = header(headers, "pulumi-webhook-signature");
    if (!id || !signature) {
        throw new Refused(401, "not signed: Pulumi-Webhook-Id and Pulumi-Webhook-Signature are needed");
    }
    if (!isSame(createHmac("sha256", key).update(body).digest("hex"), signature)) {
        throw new Refused(401, "wrong signature");
    }
    return id;
}

type Verify = (headers: IncomingHttpHeaders, body: Buffer) => string;

/** What is asked for is ours to say. Were it the request's, a replay would just leave the time out. */
function verifier(scheme: string, secret: string): Verify {
    if (scheme === "standard") {
        const key = standardKey(secret);
        return (headers, body) => verifyStandard(key, headers, body);
    }
    if (scheme === "pulumi") {
        const key = Buffer.from(secret);
        return (headers, body) => verifyPulumi(key, headers, body);
    }
    throw new UsageError("usage: receiver.js PORT [standard|pulumi]");
}

/** The newest ids. They are lost with the process: who must not act twice keeps them with what was done. */
class Ids {
    readonly #ids = new Set<string>();

    /** Whether the id is new. */
    add(id: string): boolean {
        if (this.#ids.has(id)) return false;
        this.#ids.add(id);
        // A set keeps the order of insertion, so the first id is the oldest.
        const [oldest] = this.#ids;
        if (this.#ids.size > IDS_MAX && oldest !== undefined) this.#ids.delete(oldest);
        return true;
    }
}

/** The bytes as they came: JSON that was read and written again need not have the same signature. */
async function readBody(request: IncomingMessage): Promise<Buffer> {
    // The length is checked before the body is read; Node then enforces it.
    const length = Number(request.headers["content-length"] ?? NaN);
    if (Number.isNaN(length)) throw new Refused(411, "the body's length is needed");
    if (length > BODY_BYTES_MAX) throw new Refused(413, `the body has more than ${BODY_BYTES_MAX} bytes`);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    return Buffer.concat(chunks);
}

interface Payload {
    projectName?: string;
    stackName?: string;
    environmentName?: string;
    result?: string;
    status?: string;
    action?: string;
    level?: string;
}

function parse(body: Buffer): Payload {
    try {
        return JSON.parse(body.toString());
    } catch {
        throw new Refused(400, "the body is not JSON");
    }
}

/** One line: JSON, so that nothing in a payload can begin another line. */
function summary(kind: string | undefined, payload: Payload): string {
    const of = payload.stackName ?? payload.environmentName;
    return JSON.stringify({
        kind,
        name: payload.projectName && of ? `${payload.projectName}/${of}` : null,
        result: payload.result ?? payload.status ?? payload.action ?? payload.level ?? null,
    });
}

async function receive(verify: Verify, ids: Ids, request: IncomingMessage): Promise<void> {
    if (request.method !== "POST") throw new Refused(405, "only POST is taken");
    const body = await readBody(request);
    const id = verify(request.headers, body);
    // The body is parsed only after the signature was verified. The signature does not cover the kind header,
    // so decide by the body.
    const line = summary(header(request.headers, "pulumi-webhook-kind"), parse(body));
    // A duplicate gets the response of the first request, or it would be sent again.
    if (ids.add(id)) console.log(line);
}

function refuse(response: ServerResponse, error: unknown): void {
    const isRefused = error instanceof Refused;
    if (!isRefused) console.error(error);
    // The rest of a rejected body is not read.
    response.writeHead(isRefused ? error.status : 500, { "Content-Type": "text/plain", Connection: "close" });
    response.end(isRefused ? error.message : "the receiver failed");
}

function main(secret: string | undefined, [port, scheme = "standard", ...more]: string[]): void {
    if (!secret) throw new UsageError("WEBHOOK_SECRET is not set");
    if (!port || !/^\d{1,5}$/.test(port) || more.length > 0) {
        throw new UsageError("usage: receiver.js PORT [standard|pulumi]");
    }
    const verify = verifier(scheme, secret);
    const ids = new Ids();
    const server = createServer({ requestTimeout: REQUEST_MILLISECONDS }, (request, response) => {
        receive(verify, ids, request).then(
            () => response.writeHead(204).end(),
            (error: unknown) => refuse(response, error),
        );
    });
    // The address is on loopback. To be reachable from outside, put a proxy with TLS in front of it.
    server.listen(Number(port), "127.0.0.1", () => {
        console.error(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    });
}

try {
    main(process.env["WEBHOOK_SECRET"], process.argv.slice(2));
} catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
}
