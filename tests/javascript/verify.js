// Verify deliveries with the packages of receivers, and `v1a` with node's own Ed25519.
//
// `cases.json` is a list of {verifier, secret, jwk, headers, body}; the output has for each of them the event
// that the verifier returned, or the sentence with which it refused.
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

function ed25519({ jwk, headers, body }) {
  const signed = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
  const key = createPublicKey({ key: jwk, format: "jwk" });
  const signatures = headers["webhook-signature"].split(" ").filter((one) => one.startsWith("v1a,"));
  if (!signatures.some((one) => verify(null, signed, key, Buffer.from(one.slice(4), "base64")))) {
    throw new Error("No matching v1a signature");
  }
  return JSON.parse(body);
}

const verifiers = {
  standardwebhooks: ({ secret, headers, body }) => new Standard(secret).verify(body, headers),
  // svix's throws or returns nothing
  svix: ({ secret, headers, body }) => (new Svix(secret).verify(body, headers), JSON.parse(body)),
  ed25519,
};

const results = JSON.parse(readFileSync("cases.json", "utf8")).map((one) => {
  try {
    return { event: verifiers[one.verifier](one) };
  } catch (error) {
    return { refused: error.message };
  }
});
console.log(JSON.stringify(results));
