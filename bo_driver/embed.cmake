# Files of the report's page as C++ strings: cmake -DHEADER=... -DFILES=a;b -P embed.cmake
set(text "// Made by embed.cmake.\n#pragma once\n\nnamespace mixrec::bo_driver {\n")
foreach(file ${FILES})
  get_filename_component(name ${file} NAME)
  string(REPLACE "." "_" name ${name})
  file(READ ${file} content)
  string(APPEND text "inline constexpr char ${name}[] = R\"embedded(${content})embedded\";\n")
endforeach()
file(WRITE ${HEADER} "${text}}  // namespace mixrec::bo_driver\n")
