// Shows the OpenAPI document with Swagger UI; where the service asks for a key, a person is asked for it first.

const DOCUMENT = "openapi.json";
const BEARER = "bearer"; // the name of the security scheme in the document

const form = document.getElementById("key-form");
const box = document.getElementById("key");

/** The key is in this call's variable only, and in Swagger UI's memory: gone with the tab. */
async function start(key) {
  const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
  const answer = await fetch(DOCUMENT, { headers, credentials: "omit" });
  form.hidden = answer.status !== 401;
  if (form.hidden) show(headers, key);
  else ask(key !== null);
}

function ask(isWrong) {
  if (isWrong) document.getElementById("key-words").textContent = "This key was not accepted.";
  box.focus();
}

function show(headers, key) {
  const page = window.SwaggerUIBundle({
    url: DOCUMENT,
    dom_id: "#swagger-ui",
    tryItOutEnabled: true,
    validatorUrl: null,
    persistAuthorization: false,
    requestInterceptor(request) {
      if (request.loadSpec) Object.assign(request.headers, headers);
      return request;
    },
    onComplete: () => key !== null && page.preauthorizeApiKey(BEARER, key),
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  start(box.value.trim());
});

await start(null);
