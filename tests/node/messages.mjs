// Checks chat messages with the services' own libraries: Slack's types, with the TypeScript compiler, and Microsoft's
// parser of Adaptive Cards.
//
//   node messages.mjs FOLDER...    each with slack/*.json and ms_teams/*.json
//
// Fails if a message is refused, if a folder has no messages, or if a message that is known to be wrong passes.

import { createRequire } from "node:module";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { formatText } from "adaptivecards/lib/text-formatters.js";
import ts from "typescript";

const require = createRequire(import.meta.url);
// The library is for browsers: it looks for the global object by this name.
globalThis.self = globalThis;
const cards = require("adaptivecards/dist/adaptivecards.js");

const here = dirname(new URL(import.meta.url).pathname);
const TEAMS_BYTES_MAX = 28 * 1024;

/** What is wrong with Slack messages, by name: each becomes a constant of Slack's type. */
function slackFaults(messages) {
    const file = join(here, "slack-messages.ts");
    const lines = messages.map(({ text }, index) => `export const message${index}: Message = ${JSON.stringify(JSON.parse(text))};`);
    const source = [
        'import type { KnownBlock } from "@slack/types";',
        "interface Message { text: string; blocks?: KnownBlock[] }",
        ...lines,
    ].join("\n");
    const options = {
        strict: true,
        noEmit: true,
        skipLibCheck: true,
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.NodeNext,
        moduleResolution: ts.ModuleResolutionKind.NodeNext,
        types: [],
    };
    const host = ts.createCompilerHost(options);
    const { getSourceFile, fileExists, readFile } = host;
    host.getSourceFile = (name, ...rest) =>
        resolve(name) === file ? ts.createSourceFile(name, source, ts.ScriptTarget.ES2022) : getSourceFile(name, ...rest);
    host.fileExists = (name) => resolve(name) === file || fileExists(name);
    host.readFile = (name) => (resolve(name) === file ? source : readFile(name));
    const program = ts.createProgram([file], options, host);
    return ts.getPreEmitDiagnostics(program).map((fault) => {
        const text = ts.flattenDiagnosticMessageText(fault.messageText, "\n");
        const line = fault.file?.getLineAndCharacterOfPosition(fault.start).line;
        return `${messages[line - 2]?.name ?? "the types"}: ${text}`;
    });
}

/** What is wrong with one message for Teams. */
function teamsFaults({ name, text }) {
    const message = JSON.parse(text);
    const faults = [];
    const expect = (is, what) => is || faults.push(`${name}: ${what}`);
    expect(Buffer.byteLength(text) <= TEAMS_BYTES_MAX, "too long");
    expect(message.type === "message", "type");
    expect(Array.isArray(message.attachments) && message.attachments.length === 1, "attachments");
    const attachment = message.attachments?.[0];
    expect(attachment?.contentType === "application/vnd.microsoft.card.adaptive", "contentType");
    if (faults.length > 0) {
        return faults;
    }
    const card = new cards.AdaptiveCard();
    const context = new cards.SerializationContext(cards.Versions.v1_4);
    card.parse(attachment.content, context);
    for (let index = 0; index < context.eventCount; index += 1) {
        faults.push(`${name}: ${context.getEventAt(index).message}`);
    }
    faults.push(...card.validateProperties().validationEvents.map((event) => `${name}: ${event.message}`));
    const texts = attachment.content.body.filter((element) => element.type === "TextBlock").map((element) => element.text);
    // Times that the library cannot format stay unchanged. Braces of a payload are escaped with backslashes.
    expect(!texts.some((text) => formatText("en", text).includes("{{")), "a moment that nobody can read");
    // The parser drops unknown elements.
    expect(card.getItemCount() === attachment.content.body.length, "an element was dropped");
    expect(card.getActionCount() === (attachment.content.actions ?? []).length, "an action was dropped");
    return faults;
}

function read(folder, format) {
    const path = join(folder, format);
    const names = readdirSync(path).filter((name) => name.endsWith(".json")).sort();
    if (names.length === 0) {
        throw new Error(`no messages in ${path}`);
    }
    return names.map((name) => ({ name: join(path, name), text: readFileSync(join(path, name), "utf8") }));
}

/** Messages that each check must refuse; otherwise it checks nothing. */
function plantedFaults() {
    const slack = [
        { text: "x", blocks: [{ type: "sektion" }] },
        { text: "x", blocks: [{ type: "section", text: { type: "mrkdwn", text: 3 } }] },
        { blocks: [] },
    ];
    const card = (content) => ({
        type: "message",
        attachments: [{ contentType: "application/vnd.microsoft.card.adaptive", content }],
    });
    const teams = [
        card({ type: "AdaptiveCard", version: "1.4", body: [{ type: "TextBlok", text: "x" }] }),
        card({ type: "AdaptiveCard", version: "1.4", body: [{ type: "TextBlock", text: "x", color: "Nice" }] }),
        card({ type: "AdaptiveCard", version: "1.4", body: [], actions: [{ type: "Action.OpenUrl", title: "x" }] }),
        card({ type: "AdaptiveCard", version: "1.4", body: [{ type: "TextBlock", text: "{{DATE(2026-05-13T06:19Z, SHORT)}}" }] }),
        { type: "message", attachments: [] },
    ];
    const named = (message) => ({ name: "planted", text: JSON.stringify(message) });
    const passed = [
        ...slack.filter((message) => slackFaults([named(message)]).length === 0),
        ...teams.filter((message) => teamsFaults(named(message)).length === 0),
    ];
    return passed.map((message) => `passed, though it is wrong: ${JSON.stringify(message)}`);
}

const folders = process.argv.slice(2);
const slack = folders.flatMap((folder) => read(folder, "slack"));
const teams = folders.flatMap((folder) => read(folder, "ms_teams"));
const faults = [...plantedFaults(), ...slackFaults(slack), ...teams.flatMap(teamsFaults)];
if (folders.length === 0) {
    faults.push("no folder was named");
}
faults.forEach((fault) => console.error(fault));
console.log(`${slack.length} messages for Slack, ${teams.length} for Teams, ${faults.length} faults`);
process.exitCode = faults.length === 0 ? 0 : 1;
