// Loaded into the conformance suite, which has no option for headers: adds the token to each request.
import { subscribe } from "node:diagnostics_channel";

const authorization = `Bearer ${process.env.KERNEL_EXEC_TOKEN}`;

subscribe("undici:request:create", ({ request }) => request.addHeader("authorization", authorization));
subscribe("http.client.request.created", ({ request }) => request.setHeader("authorization", authorization));
