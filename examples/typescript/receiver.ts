// Receives webhooks, and believes none that is not signed.
//
//     WEBHOOK_SECRET='a secret' node build/receiver.js PORT [standard|pulumi]
//
// Needs nothing but Node 20 or later once it is compiled. Each event becomes a line of JSON on standard output.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

// Stackbell sends at most 256 KiB, unless its `payload_bytes_max` says otherwise.
const BODY_BYTES_MAX = 1024 * 1024;
// As the libraries of Standard Webhooks have it: room for clocks that differ, not for replays.
const TOLERANCE_SECONDS = 5 * 60;
// More than come within the tolerance, so that a replay is either a known id or too old.
const IDS_MAX = 10_000;
// Whoever takes longer is not waited for. Stackbell gives up after 15 seconds itself.
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
    // Node skips what is not base64, and would sign with another key than the sender.
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
    // After a rotation there are two: one of the new secret, and for a day one of the old.
    if (!signatures.split(" ").some((signature) => isSame(right, signature))) {
        throw new Refused(401, "wrong signature");
    }
    // Written so that a time which is no number is refused, too.
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
        // A set keeps the order of insertion, so the first is the oldest.
        const [oldest] = this.#ids;
        if (this.#ids.size > IDS_MAX && oldest !== undefined) this.#ids.delete(oldest);
        return true;
    }
}

/** The bytes as they came: JSON that was read and written again need not have the same signature. */
async function readBody(request: IncomingMessage): Promise<Buffer> {
    // Looked at before anything is read, and held to by Node afterwards.
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
    // Only now is it worth reading. The kind is in no signature: what matters is decided by the body.
    const line = summary(header(request.headers, "pulumi-webhook-kind"), parse(body));
    // A double is answered as the first was, or it would be sent again.
    if (ids.add(id)) console.log(line);
}

function refuse(response: ServerResponse, error: unknown): void {
    const isRefused = error instanceof Refused;
    if (!isRefused) console.error(error);
    // What is left of a body that is not wanted is not read.
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
    // Loopback: what is reachable from outside belongs behind a proxy with TLS.
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
