// What a picture says of how it was made, as the commands of tfstyle write it into a PNG.
"use strict";

// CRC-32 of ISO/IEC 13239, as PNG (annex D) has it.
function checksum(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

// {keyword: text}. about: {tfstyle: version, xmp: packet with "{told}"} of models.json; made: what
// made the picture, {model, version, licence, style, strength}, as far as there is.
function notes(about, made) {
  const tool = `tfstyle ${about.tfstyle}`;
  const told = Object.entries(made)
    .filter(([, value]) => typeof value === "string" || Number.isInteger(value))
    .map(([key, value]) => `${key} ${value}`);
  const description = `AI-generated: made with ${tool}, ${told.join(" ")}`;
  return {
    Software: tool,
    Description: description,
    "tfstyle:made": JSON.stringify({ tfstyle: about.tfstyle, ai_generated: true, ...made }),
    "XML:com.adobe.xmp": about.xmp.split("{told}").join(escaped(description)),
  };
}

// The PNG (a Uint8Array) with texts in iTXt chunks behind its header: keyword, compression 0 and
// method 0, no language, no translated keyword, text in UTF-8. The keywords are ASCII.
function withTexts(png, texts) {
  const encoder = new TextEncoder();
  const chunks = Object.entries(texts).map(([keyword, text]) => {
    const body = encoder.encode(`iTXt${keyword}\0\0\0\0\0${text}`);
    const chunk = new Uint8Array(body.length + 8);
    const fields = new DataView(chunk.buffer);
    fields.setUint32(0, body.length - 4);
    chunk.set(body, 4);
    fields.setUint32(4 + body.length, checksum(body));
    return chunk;
  });
  const head = 33; // signature 8, IHDR 4 + 4 + 13 + 4
  const parts = [png.subarray(0, head), ...chunks, png.subarray(head)];
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    result.set(part, place);
    place += part.length;
  }
  return result;
}
