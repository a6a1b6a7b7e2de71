// Shows the OpenAPI document with Swagger UI; where the service asks for a key, a person is asked for it first.

const DOCUMENT = "openapi.json";
const BEARER = "bearer"; // the name of the security scheme in the document

// English stands in the page; Swagger UI itself speaks no other language.
const CHINESE = {
  title: "此服务需要密钥",
  kept: "密钥只保存在此标签页的内存中，关闭后即消失。",
  label: "API 密钥",
  use: "使用",
};
const WRONG = { en: "This key was not accepted.", zh: "此密钥未被接受。" };

const language = chosenLanguage();
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
  if (language === "zh") speakChinese();
  if (isWrong) document.getElementById("key-words").textContent = WRONG[language];
  box.focus();
}

function speakChinese() {
  form.lang = "zh-Hans";
  for (const place of form.querySelectorAll("[data-words]")) place.textContent = CHINESE[place.dataset.words];
}

/** As on the playground, which remembers a choice; else the browser's. */
function chosenLanguage() {
  let remembered = null;
  try {
    remembered = localStorage.getItem("clipmax.language");
  } catch {
    // Storage may be switched off.
  }
  return (remembered ?? navigator.language).toLowerCase().startsWith("zh") ? "zh" : "en";
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
